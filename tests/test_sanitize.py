"""Which of a sanitizer's reports are about our libraries."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
#: As ThreadSanitizer writes it: a thread's stack and TLS are freed after it has ended.
REPORT = """\
==================
WARNING: ThreadSanitizer: data race (pid=1)
  Write of size 8 at 0x7b2000078e28 by thread T5:
    #0 free ../../libsanitizer/tsan/tsan_interceptors_posix.cpp:706 (libtsan.so+0x47e)
    #1 {free} ../elf/dl-tls.c:682 (ld-linux-x86-64.so.2+0x11785)

  Previous read of size 8 at 0x7b2000078e28 by thread T2:
    #0 std::__shared_ptr<void>::~__shared_ptr() shared_ptr.h:175 (libnrt.so.1+0xe8af)
    #1 {end} stdlib/cxa_thread_atexit_impl.c:159 (libc.so.6+0x3e22e)

  Thread T2 (tid=2, finished) created by main thread at:
    #0 pthread_create tsan_interceptors_posix.cpp:1001 (libtsan.so+0x5e686)
    #1 start Python/thread_pthread.h:289 (libpython3.11.so.1.0+0x2a9150)
"""


@pytest.fixture
def sanitize(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("sanitize")


@pytest.mark.parametrize(
    ("free", "end", "is_ours"),
    [
        ("__GI__dl_deallocate_tls", "__GI___call_tls_dtors", False),
        ("__GI__dl_deallocate_tls", "read_of_another_thread", True),
        ("forget", "__GI___call_tls_dtors", True),
    ],
)
def test_only_the_end_of_a_thread_is_not_ours(
    sanitize: ModuleType, free: str, end: str, is_ours: bool
) -> None:
    (report,) = sanitize.split(REPORT.format(free=free, end=end))
    assert sanitize.is_ours(report) is is_ours
