"""`python -m organseg_client`: the command `organseg-client`."""

import sys

from organseg_client.command import main

if __name__ == "__main__":
    sys.exit(main())
