"""The mathematics of keys: from detections to a secret key. It knows no light, no wire and no clock."""
