"""`python -m resnet_probe`."""

import sys

from resnet_probe.cli import main

sys.exit(main())
