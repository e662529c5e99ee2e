"""Fetches models from the Hugging Face hub into its own cache, and goes on where it was cut off.

`huggingface_hub` speaks with the hub and keeps the cache. It throws a half-downloaded file away
when a run ends, which of five gigabytes is too much: large files are therefore fetched here, with
its own `http_get` and a Range, checked against the hub's sha256, and put into its cache.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

from organseg.errors import SourceError
from organseg.networks.weight_files import sha256_of

_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "run the same command again: it goes on where it stopped"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model on the hub."""

    name: str
    """Its name; only files at the top of a repository count."""
    size: int | None
    """Its length in bytes."""
    sha256: str | None
    """Its hash, which the hub knows of large files only."""


@dataclass(frozen=True)
class Listing:
    """A model on the hub at one revision."""

    hub_id: str
    """`owner/name`."""
    asked: str
    """The branch, tag or commit that was asked for."""
    revision: str
    """The commit's hash."""
    licence: str | None
    """What the model's card names as its licence."""
    files: tuple[RemoteFile, ...]
    """The files at the top of the repository."""


@dataclass(frozen=True)
class Hub:
    """The hub, or another server that speaks like it, and the cache on this machine."""

    endpoint: str | None = None
    """The server's address; by default `HF_ENDPOINT`, or huggingface.co."""
    cache: Path | None = None
    """The cache's folder; by default huggingface_hub's own (`HF_HOME`)."""

    def page_of(self, hub_id: str) -> str:
        """The address that a person opens in a browser."""
        return f"{self._server}/{hub_id}"

    def look_up(self, hub_id: str, revision: str | None) -> Listing | None:
        """What the hub has under an id; none where it is out of reach.

        Raises:
            SourceError: there is no such model or revision, or it may not be read.
        """
        try:
            with _explained(hub_id, self.page_of(hub_id)):
                found = HfApi(endpoint=self._server).model_info(
                    hub_id, revision=revision, files_metadata=True
                )
        except _OutOfReachError:
            return None
        card: Any = found.card_data
        said = getattr(card, "license_name", None) or getattr(card, "license", None)
        return Listing(
            hub_id=hub_id,
            asked=revision or constants.DEFAULT_REVISION,
            revision=str(found.sha),
            licence=", ".join(said) if isinstance(said, list) else said,
            files=tuple(
                RemoteFile(each.rfilename, each.size, each.lfs.sha256 if each.lfs else None)
                for each in found.siblings or ()
                if "/" not in each.rfilename
            ),
        )

    def missing(self, listing: Listing, names: Sequence[str]) -> list[str]:
        """Those of the files that are not in the cache."""
        snapshot = self._storage(listing.hub_id) / "snapshots" / listing.revision
        return [name for name in names if not (snapshot / name).exists()]

    def fetch(self, listing: Listing, names: Sequence[str]) -> Path:
        """The folder in the cache with these files, after what is missing was downloaded.

        Raises:
            SourceError: the download was cut off, refused, or brought something else.
        """
        absent = self.missing(listing, names)
        try:
            with _explained(listing.hub_id, self.page_of(listing.hub_id)):
                for file in listing.files:
                    if file.name in absent and file.sha256:
                        self._fetch_large(listing, file, file.sha256)
                folder = snapshot_download(
                    listing.hub_id,
                    revision=listing.revision,
                    allow_patterns=[glob.escape(name) for name in names],
                    endpoint=self._server,
                    cache_dir=self.cache,
                )
                self._keep_reference(listing)
        except _OutOfReachError as error:
            raise SourceError(
                f"wanted {len(absent)} files of {listing.hub_id}, the hub could not be reached "
                f"before all were here ({error}): {_AGAIN}"
            ) from error
        return Path(folder)

    def cached(self, hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
        """The folder in the cache with these files, without asking the hub; none where it lacks."""
        try:
            return Path(
                snapshot_download(
                    hub_id,
                    revision=revision,
                    allow_patterns=list(patterns),
                    cache_dir=self.cache,
                    local_files_only=True,
                )
            )
        except (LocalEntryNotFoundError, HFValidationError):
            return None

    @property
    def _server(self) -> str:
        return (self.endpoint or constants.ENDPOINT).rstrip("/")

    def _storage(self, hub_id: str) -> Path:
        cache = self.cache or Path(constants.HF_HUB_CACHE)
        return cache / repo_folder_name(repo_id=hub_id, repo_type="model")

    def _keep_reference(self, listing: Listing) -> None:
        """Notes the commit of a branch or tag, by which the cache is asked without a connection."""
        if listing.asked != listing.revision:
            note = self._storage(listing.hub_id) / "refs" / listing.asked
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(listing.revision, encoding="utf-8")

    def _fetch_large(self, listing: Listing, file: RemoteFile, sha256: str) -> None:
        """Puts a file among the cache's blobs, from which `snapshot_download` takes it."""
        if not _SHA256.fullmatch(sha256):
            raise SourceError(
                f"wanted the sha256 of {file.name} from {self.page_of(listing.hub_id)}, got "
                f"{sha256!r:.80}: check that HF_ENDPOINT names a hub"
            )
        blob = self._storage(listing.hub_id) / "blobs" / sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        partial = blob.with_name(f"{sha256}.resumed.incomplete")
        url = hf_hub_url(
            listing.hub_id, file.name, revision=listing.revision, endpoint=self._server
        )
        with WeakFileLock(f"{partial}.lock"):
            if blob.exists():
                return
            with partial.open("ab") as stream:
                if file.size is not None and stream.tell() > file.size:
                    stream.truncate(0)
                    stream.seek(0)
                http_get(
                    url,
                    stream,
                    resume_size=stream.tell(),
                    headers=build_hf_headers(),
                    expected_size=file.size,
                    displayed_filename=file.name,
                )
            if (came := sha256_of(partial)) != sha256:
                partial.unlink()
                raise SourceError(
                    f"wanted {file.name} of {listing.hub_id} with the sha256 {sha256}, got {came}; "
                    "what came was thrown away: run the same command again"
                )
            partial.rename(blob)


class _OutOfReachError(Exception):
    """The hub did not answer, or offline mode forbids to ask it."""


@contextmanager
def _explained(hub_id: str, page: str) -> Iterator[None]:
    """Turns huggingface_hub's errors into ours, which say how to go on."""
    try:
        yield
    except GatedRepoError as error:
        raise SourceError(
            f"wanted to read {hub_id}, the hub gives it only to accounts that asked for it: open "
            f"{page}, ask there, then `hf auth login` and {_AGAIN}"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise SourceError(
            f"wanted a path or a model on the hub, {hub_id} is neither: check its name; one that "
            "is private needs `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(
            f"wanted a revision of {hub_id}, the hub has no such branch, tag or commit: choose "
            f"one that {page} lists after the @, or leave it out"
        ) from error
    except OfflineModeIsEnabled as error:
        raise _OutOfReachError("HF_HUB_OFFLINE is set") from error
    except (LocalEntryNotFoundError, httpx2.TransportError) as error:
        raise _OutOfReachError(type(error).__name__) from error
    except EntryNotFoundError as error:
        raise SourceError(
            f"wanted a file that the hub lists for {hub_id}, it was not there: {_AGAIN}"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise SourceError(
            f"wanted files of {hub_id}, the hub answered {status}: {_AGAIN}; if it stays so, see "
            f"{page}"
        ) from error
    except OSError as error:
        raise SourceError(
            f"wanted files of {hub_id} in the cache, could not put them there ({error}): make "
            f"room or give the right to write, then {_AGAIN}"
        ) from error
