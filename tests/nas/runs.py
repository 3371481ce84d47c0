"""How tests start the command line, and a search that takes a moment."""

import sys

NAS = [sys.executable, "-m", "nas"]
CLIPS = ["--validation-clips", "8", "--test-clips", "8", "--finalist-clips", "64"]
SMALL = ["--trials", "6", "--winner-steps", "4", *CLIPS]
