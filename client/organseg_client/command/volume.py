"""`organseg-client volume`: one question about every slice of a scan, answered as files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from organseg.errors import InvalidInputError, NothingSegmentedError
from organseg.imaging.scan import NIFTI_SUFFIXES
from organseg_client.command.connection import add_connection_options, open_client
from organseg_client.command.console import (
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
    warn,
)
from organseg_client.command.exit_codes import ExitCode
from organseg_client.command.files import check_place, make_folder, write_file
from organseg_client.command.looks import organ_cell, verdict_cell
from organseg_client.command.parser import add_command, add_json_option, add_window_option
from organseg_client.volume.plan import FailurePolicy, VolumeProgress
from organseg_client.volume.result import VolumeResult

__all__ = ["add_parser", "run"]

_DESCRIPTION = """Ask one question about every slice of a scan, and write the organs as masks in
exactly the scan's own geometry. Prints each organ's verdict, volume in millilitres and slices
(0 at the feet). Slices that get no answer are listed, and blank in the masks."""

_EPILOG = """examples:
  organseg-client volume ct.nii.gz "Where is the liver?" --out liver.nii.gz
  organseg-client volume ct.nii.gz "Show me both kidneys." --organs masks --csv slices.csv
  organseg-client volume dicom_folder "Where is the spleen?" --dicom-seg spleen.dcm
  organseg-client volume mr.nii.gz "Where is the aorta?" --json --url one:8001,two:8001"""

_CONCURRENCY = 4


def add_parser(subparsers: Any) -> None:
    """Adds this subcommand to those of `organseg-client`."""
    parser = add_command(
        subparsers,
        "volume",
        run,
        summary="ask one question about every slice of a scan, write masks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "scan", metavar="SCAN", type=Path, help="a NIfTI file, or a folder of one DICOM series"
    )
    parser.add_argument("question", metavar="QUESTION", help="one sentence in plain words")
    add_window_option(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write all organs as one label map, NIfTI (.nii, .nii.gz): 0 background, 1 liver to "
        "13 left kidney",
    )
    parser.add_argument(
        "--organs",
        metavar="FOLDER",
        type=Path,
        help="write a NIfTI file for each segmented organ, such as liver.nii.gz",
    )
    parser.add_argument(
        "--dicom-seg",
        metavar="FILE",
        type=Path,
        help="write a DICOM segmentation that refers to the series; wants a DICOM SCAN",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        help="write the verdicts slice by slice, with boxes and areas",
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=int,
        default=_CONCURRENCY,
        help="slices that are asked at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--stop-on-failure",
        action="store_true",
        help="end with the first slice that gets no answer, instead of going on with the others",
    )
    add_json_option(parser, "verdict, organs with volume and slices, failures, written files")
    add_connection_options(parser)


def run(options: argparse.Namespace) -> ExitCode:
    """Asks, writes the files that were asked for, prints what was found."""
    _check_files(options)
    with open_client(options) as client, progress_bar("asking slices") as show:

        def show_slice(progress: VolumeProgress) -> None:
            note = f"{progress.failed} failed" if progress.failed else ""
            show(progress.done, progress.total, note)

        result = client.segment_volume(
            options.scan,
            options.question,
            window=options.window,
            concurrency=options.concurrency,
            progress=show_slice,
            on_failure=FailurePolicy.STOP if options.stop_on_failure else FailurePolicy.FINISH,
        )
    with result:
        files = [str(path) for path in _write(options, result)]
        if options.json:
            print_json({**result.to_dict(), "files": files})
        else:
            _report(result)
            for path in files:
                say(f"written: {path}")
        return ExitCode.PARTLY_FAILED if result.failures else ExitCode.ANSWERED


def _check_files(options: argparse.Namespace) -> None:
    """Refuses before the scan is asked about what could not be written behind it."""
    if options.out is not None and not options.out.name.lower().endswith(NIFTI_SUFFIXES):
        raise InvalidInputError(
            "wanted a file name ending in .nii or .nii.gz for --out, got another; the label map is "
            "NIfTI"
        )
    if options.dicom_seg is not None and not options.scan.is_dir():
        raise InvalidInputError(
            "wanted a folder of one DICOM series for --dicom-seg, which refers to it, got another "
            "scan; give --out for NIfTI"
        )
    for path in (options.out, options.dicom_seg, options.csv):
        if path is not None:
            check_place(path)
    if options.organs is not None:
        make_folder(options.organs)


def _write(options: argparse.Namespace, result: VolumeResult) -> Iterator[Path]:
    """Writes what was asked for; gives the paths."""
    if options.out is not None:
        write_file(options.out, result.write_nifti)
        yield options.out
    if options.organs is not None:
        written: list[Path] = []
        write_file(options.organs, lambda folder: written.extend(result.write_organ_niftis(folder)))
        yield from written
    if options.csv is not None:
        write_file(options.csv, result.write_csv)
        yield options.csv
    if options.dicom_seg is not None:
        try:
            write_file(options.dicom_seg, result.write_dicom_seg)
            yield options.dicom_seg
        # That there is nothing to write is an answer too.
        except NothingSegmentedError as error:
            warn(f"no DICOM segmentation written: {error}")


def _report(result: VolumeResult) -> None:
    rows = [
        (
            organ_cell(organ.id),
            organ.letter,
            verdict_cell(organ.verdict),
            f"{organ.volume_ml:.1f}" if organ.slice_range else "-",
            "{}-{}".format(*organ.slice_range) if organ.slice_range else "-",
            str(organ.slice_count) if organ.slice_range else "-",
        )
        for organ in result.organs
    ]
    header = ("organ", "letter", "verdict", "mL", "slices", "shown in")
    print_table(header, rows, right=("mL", "shown in"))
    print_line("")
    total = len(result.slices) + len(result.failures)
    print_line(f"{result.reason} ({total} slices, {total / result.seconds:.1f} slices/s)")
    for failure in result.failures:
        say(f"slice {failure.index}: {type(failure.error).__name__}: {failure.error}")
