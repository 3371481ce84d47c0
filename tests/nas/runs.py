"""How tests start the command line, and a search that takes a moment."""

import sys

NAS = [sys.executable, "-m", "nas"]
FINALISTS = ["--finalist-clips", "64", "--finalist-steps", "0"]
CLIPS = ["--validation-clips", "8", "--test-clips", "8", *FINALISTS]
SMALL = ["--trials", "6", "--winner-steps", "4", *CLIPS]
