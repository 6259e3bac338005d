"""What a mailbox tells of its storage."""

from pymailbox import UnsupportedError
from tests.indexeddb.scenarios.support import foreign, new_context, raised


async def check_report_tells_what_there_is_to_tell() -> None:
    here = await new_context()
    async with await here.open("reported", durability="relaxed") as mailbox:
        await mailbox.enqueue(b"s", bytes(100_000))
        report = await mailbox.storage_report()
        assert report.durability == "relaxed"
        assert report.wiped is False
        estimate = await foreign("return (await navigator.storage?.estimate()) ?? {}")
        if estimate:
            assert isinstance(report.usage, int), report
            assert isinstance(report.quota, int), report
            assert 100_000 < report.usage < report.quota, report
        persisted = await foreign("return navigator.storage?.persisted()")
        assert report.persistent is persisted, report
        assert type(report).from_dict(report.to_dict()) == report


async def check_persistence_is_asked_for_by_pages_only() -> None:
    here = await new_context()
    async with await here.open("persistent") as mailbox:
        if await foreign("return typeof document === 'undefined'"):
            error = await raised(mailbox.request_persistence())
            assert isinstance(error, UnsupportedError), error
            assert "page" in str(error), error
            assert "navigator.storage.persist()" in str(error), error
        # elsewhere it may ask its user, who is not there
        elif await foreign("return navigator.userAgent.includes('Chrome/')"):
            granted = await mailbox.request_persistence()
            assert granted is (await mailbox.storage_report()).persistent
