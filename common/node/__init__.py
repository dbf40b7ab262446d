"""The shell of a station: settings, link upkeep, journal. Here clocks tick and sockets open."""
