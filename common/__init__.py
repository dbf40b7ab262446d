"""The library under the processes: a house with named floors, where imports go down only."""
