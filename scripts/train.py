"""`gan-gradflow train` for launchers that want a file: torchrun scripts/train.py ..."""

import sys

from gan_gradflow.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
