"""The DDIM paper's table 1 on the bundled model: quality by sampler and number of steps."""
