"""The engine: who may say what when, and what both parties have to agree on. No socket, no clock, no physics."""
