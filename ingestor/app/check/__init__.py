"""`ingestor check`: tries the whole path once, step by step, and says how to mend what fails."""
