"""Commands on whole mailboxes and whole files."""

from __future__ import annotations

from argparse import Namespace
from itertools import chain
from pathlib import Path
from typing import Final

from .._open import backup, compact
from ..backends.sqlite.copying import belongs_to
from ..transfer import RefusedLine, export, import_
from ..transfer.importing import check_first_line
from .errors import OK, PROBLEM, ProblemError, UsageError
from .locations import FileLocation, file_of, location_of, opening, opening_to_read
from .streams import print_json, print_lines, reading, standard_output, warn, whole_file
from .text import byte_count, counted, one_line

_LONGEST_HEAD: Final = 64 * 1024
"""Bytes; the first line of an export has less."""


async def export_mailbox(arguments: Namespace) -> int:
    lines = 0
    location = location_of(arguments.location, arguments.mailbox)
    if arguments.output and isinstance(location, FileLocation) and belongs_to(arguments.output, location.file):
        raise UsageError(f"--output {arguments.output} is the mailbox file itself, or belongs to it. Name another file")
    async with await opening_to_read(location) as mailbox:
        with whole_file(arguments.output) if arguments.output else standard_output() as out:
            async for line in export(mailbox):
                out.write(line)
                lines += 1
    if arguments.output:
        print_lines([f"{counted(lines - 2, 'message')} exported to {one_line(arguments.output)}."])
    return OK


async def import_mailbox(arguments: Namespace) -> int:
    location = location_of(arguments.location, arguments.mailbox)

    def tell(refused: RefusedLine) -> None:
        warn(one_line(str(refused) if arguments.file == "-" else f"{arguments.file}, {refused}"))

    with reading(arguments.file, "an export") as file:
        first_line = file.readline(_LONGEST_HEAD)
        try:
            check_first_line(first_line)  # before a mailbox is made
        except ValueError as error:
            name = "the standard input" if arguments.file == "-" else arguments.file
            raise ProblemError(one_line(str(error).replace("source", name, 1))) from error
        async with await opening(location, make=True) as mailbox:
            report = await import_(mailbox, chain([first_line], file), on_refused=tell)
    if arguments.json:
        print_json(report.to_dict())
    else:
        parts = [f"{counted(report.stored, 'message')} stored"]
        if report.already_there:
            parts.append(f"{report.already_there:,} already there")
        if report.refused:
            parts.append(f"{counted(len(report.refused), 'line')} refused")
        print_lines([", ".join(parts) + "."])
    if not report.complete:
        warn("the export is incomplete: its last line, which counts the others, is missing or wrong")
    return OK if report.complete and not report.refused else PROBLEM


async def backup_file(arguments: Namespace) -> int:
    location = file_of(arguments.location, "backup", "export works everywhere")
    await backup(Path(location.file), arguments.path)
    size = Path(arguments.path).stat().st_size  # noqa: ASYNC240 (nothing else runs)
    if arguments.json:
        print_json({"file": location.file, "copy": arguments.path, "bytes": size})
    else:
        print_lines([f"{one_line(location.file)} copied to {one_line(arguments.path)} ({byte_count(size)})."])
    return OK


async def compact_file(arguments: Namespace) -> int:
    location = file_of(arguments.location, "compact", "A stream is kept small by whoever uses it")
    freed = await compact(Path(location.file))
    if arguments.json:
        print_json({"file": location.file, "freed_bytes": freed})
    else:
        print_lines([f"{byte_count(freed)} freed in {one_line(location.file)}."])
    return OK
