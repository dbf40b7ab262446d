"""How fast each stage is, beside a named baseline that runs in the same run; `README.md` states the conditions."""
