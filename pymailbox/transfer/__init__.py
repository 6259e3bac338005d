"""Mailboxes as files: ``export`` and ``import_``, in lines of JSON, streaming, for any backend; see docs/transfer.md.

async for line in export(mailbox):
    file.write(line)

report = await import_(mailbox, file)
"""

from .exporting import export
from .importing import ImportReport, RefusedLine, import_

__all__ = ["ImportReport", "RefusedLine", "export", "import_"]
