"""Image U-Nets: our own and Stable Diffusion's, opened from folders of diffusers."""
