"""A small diffusion transformer for video, its search space, and a supernet of its user's own.

- `space`: `SPACE`, `SHAPE` of the inputs, `everywhere(mixing)`;
- `network`: `build(architecture)`, of fresh weights; how tokens are mixed is in `mixing`;
- `supernet`: `Supernet`, with `extract(architecture)`;
- `training`: `trained(folder)`, `evaluate(supernet, architecture)`;
- `costs`: `workload(architecture)`, added up of layers.
"""
