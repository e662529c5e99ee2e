"""`python -m organseg.evaluation`: see `--help`."""

import sys

from organseg.evaluation.command import main

if __name__ == "__main__":
    sys.exit(main())
