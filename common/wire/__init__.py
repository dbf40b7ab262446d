"""Messages and frames of light as bytes. It knows no socket."""
