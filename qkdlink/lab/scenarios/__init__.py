"""The claims of the seed article as scenarios, one TOML file each, and how they are read and run."""
