"""What the exit code of `bottomup` means."""

DONE = 0
FAILED = 1
WRONG_USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130  # what a shell gives a program that Ctrl-C ends: 128 and the signal's number
TERMINATED = 143  # the same for SIGTERM

EXPLANATION = f"""exit codes:
  {DONE}  all went well
  {FAILED}  it failed: a full disk, a broken transfer, a loss that is not finite
  {WRONG_USAGE}  wrong usage: an option, a path, weights or annotations that do not exist or fit
  {SOME_FAILED}  some files failed, or shards are missing; the others are done
  {INTERRUPTED}  interrupted: the same command of predict goes on, fit saves its state
  {TERMINATED}  the same after SIGTERM"""


def after(signal_number: int) -> int:
    """The exit code after a signal has stopped the work."""
    return 128 + signal_number
