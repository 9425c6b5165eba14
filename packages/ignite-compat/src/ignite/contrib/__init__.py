"""What older scripts import from here lives in `ignite.handlers`, `ignite.metrics` and `ignite.engine`."""
