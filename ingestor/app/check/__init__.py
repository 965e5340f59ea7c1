"""`ingestor check`: tries the whole path once, step by step, and says how to repair what fails."""
