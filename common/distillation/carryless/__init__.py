"""Products of long polynomials over GF(2), and the instruction that multiplies without carries."""
