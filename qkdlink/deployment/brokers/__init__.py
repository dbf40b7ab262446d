"""MQTT brokers for links on this machine."""
