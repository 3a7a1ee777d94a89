"""A process that hangs ends by itself, and says where it hung."""

import subprocess
import sys

HANGS = """
import sys, time
sys.path.insert(0, ".")
from streams.deadline import comes_back_within
with comes_back_within(5):
    pass
with comes_back_within(0.2):
    time.sleep(20)
"""


def test_a_call_that_does_not_come_back_ends_the_process_and_is_named() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=15, check=False)
    assert ended.returncode == 1
    assert 'File "<string>", line 8' in ended.stderr
