"""Imported by every Python with this folder on its path: makes chosen programs fail as jobs on a cluster do."""

import os
import signal
import sys

_program = next((word.rsplit("/", 1)[-1] for word in sys.orig_argv[1:] if word.endswith(".py")), "")

# 3,000 MiB more than the program needs: too much for the first attempt's memory, but not for the second's.
if _program == "restore_labels.py" and "unique" in sys.orig_argv:
    ballast = b"x" * (3000 * 2**20)

if _program == "reconstruct.py":
    print("killed by a fault, with CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"), file=sys.stderr)
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
