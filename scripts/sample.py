"""`gan-gradflow sample` for launchers that want a file: python scripts/sample.py ..."""

import sys

from gan_gradflow.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "sample")
    main()
