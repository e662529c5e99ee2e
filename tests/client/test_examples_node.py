"""The example for Node.js: what it pins, its part of the protocol, and right answers over gRPC."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from PIL import Image
from tritonclient.grpc import service_pb2

from constructed import PICTURES
from organseg.organs import ANSWERS
from organseg_client import OrganSegClient

if TYPE_CHECKING:
    from organseg.serving.embedded import EmbeddedServer

FOLDER = Path(__file__).resolve().parents[2] / "client" / "examples" / "node"

NO_REGISTRY = re.compile(r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ECONNRESET|network")
SCALARS = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def messages_of(proto: str) -> dict[str, str]:
    """The text of each message by its full name, without that of the messages in it."""
    messages: dict[str, str] = {}
    scope: list[str] = []
    for line in re.sub(r"//.*", "", proto).splitlines():
        if opened := re.match(r"\s*(message|service|oneof) (\w+) \{", line):
            scope.append(opened[2] if opened[1] == "message" else "")
        elif line.strip() == "}":
            scope.pop()
        elif any(scope):
            name = ".".join(filter(None, scope))
            messages[name] = messages.get(name, "") + line + "\n"
    return messages


def fields_of(text: str) -> list[tuple[str, str, str, int]]:
    """(label, type, name, number) of each field in a message's text."""
    found = re.findall(r"^\s*(repeated )?([\w<>, ]+?) (\w+) = (\d+);$", text, re.MULTILINE)
    return [(label.strip(), kind, name, int(number)) for label, kind, name, number in found]


def type_of(field: FieldDescriptor) -> str:
    """A field's type as a .proto file writes it."""
    if field.message_type is None:
        return next(name for name, number in SCALARS.items() if number == field.type)
    if field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name.values()
        return f"map<{type_of(key)}, {type_of(value)}>"
    return str(field.message_type.name)


def test_its_part_of_the_protocol_is_tritons() -> None:
    proto = (FOLDER / "inference.proto").read_text()
    messages = messages_of(proto)
    assert len(messages) == 9
    for name, text in messages.items():
        descriptor: Descriptor = service_pb2.DESCRIPTOR.message_types_by_name[name.split(".")[0]]
        for inner in name.split(".")[1:]:
            descriptor = descriptor.nested_types_by_name[inner]
        fields = fields_of(text)
        assert len(fields) == text.count(";"), name
        for label, kind, field_name, number in fields:
            field = descriptor.fields_by_name[field_name]
            assert field.number == number, f"{name}.{field_name}"
            assert type_of(field) == kind, f"{name}.{field_name}"
            is_list = field.is_repeated and not kind.startswith("map<")
            assert is_list == (label == "repeated"), f"{name}.{field_name}"
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    calls = re.findall(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\)", proto)
    assert len(calls) == 3
    for name, sends_many, sent, gives_many, given in calls:
        method = service.methods_by_name[name]
        assert (method.input_type.name, method.output_type.name) == (sent, given)
        assert (method.client_streaming, method.server_streaming) == (
            bool(sends_many),
            bool(gives_many),
        )


def test_packages_are_pinned_and_the_lock_names_no_registry() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    assert packages[""]["dependencies"] == wanted
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_the_program_knows_the_organs_by_the_contracts_ids() -> None:
    names = re.search(r"NAMES = \[(.*?)\];", (FOLDER / "ask.mjs").read_text(), re.DOTALL)
    assert names
    assert re.findall(r"'([^']+)'", names[1]) == [organ.name for organ in ANSWERS]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its packages, as `npm ci` installs them from the lock."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
    )
    if done.returncode != 0 and NO_REGISTRY.search(done.stderr):
        pytest.skip("npm reaches no registry to install from")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a slice.png"
    path.write_bytes(PICTURES[0])
    return str(path)


def ask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "ask.mjs", *arguments], cwd=folder, capture_output=True, text=True, timeout=180
    )


@pytest.mark.server
def test_it_prints_the_answer_and_writes_the_masks_that_the_library_writes(
    installed: Path, picture: str, tmp_path: Path, ensemble_server: EmbeddedServer
) -> None:
    question, address = "Show me the liver and the aorta.", ensemble_server.grpc_address
    mask = tmp_path / "labels.png"
    done = ask(installed, picture, question, "--url", address, "--mask", str(mask))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["segmented\tliver", "segmented\taorta"]
    with OrganSegClient(address) as client:
        client.segment(picture, question).write_label_png(tmp_path / "wanted.png")
    with Image.open(mask) as written, Image.open(tmp_path / "wanted.png") as wanted:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(wanted))


@pytest.mark.server
@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Segment the spleen", "absent_in_image\tspleen\n"),
        ("What is the capital of France?", "out_of_scope\tnone\n"),
    ],
)
def test_a_question_without_an_answer_has_a_verdict_and_a_blank_mask(
    question: str,
    wanted: str,
    installed: Path,
    picture: str,
    tmp_path: Path,
    ensemble_server: EmbeddedServer,
) -> None:
    mask = tmp_path / "labels.png"
    address = ensemble_server.grpc_address
    done = ask(installed, picture, question, "--url", address, "--mask", str(mask))
    assert (done.returncode, done.stdout) == (0, wanted), done.stderr
    with Image.open(mask) as written:
        assert not np.asarray(written).any()


@pytest.mark.server
def test_the_answer_in_words_is_the_one_that_the_library_reads(
    installed: Path, picture: str, ensemble_server: EmbeddedServer
) -> None:
    question, address = "Which organ stores bile?", ensemble_server.grpc_address
    done = ask(installed, picture, question, "--url", address, "--explain")
    assert done.returncode == 0, done.stderr
    verdict, said = done.stdout.split("\n", 1)
    assert verdict == "segmented\tgallbladder"
    with (
        OrganSegClient(address, deadline_s=120) as client,
        client.explain(picture, question, max_tokens=40) as explanation,
    ):
        for _ in explanation:
            pass
    assert said.rstrip("\n") == explanation.text.rstrip("\n")


@pytest.mark.server
def test_what_the_server_refuses_is_told_in_its_words_in_node(
    installed: Path, ensemble_server: EmbeddedServer
) -> None:
    done = ask(installed, "ask.mjs", "Where is it?", "--url", ensemble_server.grpc_address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("INVALID_ARGUMENT: ")
    assert "ImageError: wanted a PNG" in done.stderr


def test_no_server_and_missing_arguments_fail_in_node(installed: Path, picture: str) -> None:
    done = ask(installed, picture, "Where is the liver?", "--url", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("UNAVAILABLE: ")
    assert "usage: node ask.mjs" in ask(installed, picture).stderr
