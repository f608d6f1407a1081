"""`gan-gradflow train` for launchers that want a file: torchrun scripts/train.py ..."""

import sys

from gan_gradflow.cli import main

if __name__ == "__main__":
    if sys.argv[1:2] != ["train"]:  # as in a process that this one started
        sys.argv.insert(1, "train")
    main()
