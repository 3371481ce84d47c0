"""The whole pipeline for a phone: text encoder, denoiser and decoder as Core ML packages.

`parts` opens the networks and holds them against each other, `calls` counts the denoiser's beside a
search's budget, `writing` makes the folder, `manifest` its pipeline.json. `run` is written into it:
it makes videos on a Mac, without this toolkit and without torch.
"""
