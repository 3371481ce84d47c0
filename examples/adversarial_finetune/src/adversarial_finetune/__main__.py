"""`python -m adversarial_finetune`."""

from adversarial_finetune.cli import main

main()
