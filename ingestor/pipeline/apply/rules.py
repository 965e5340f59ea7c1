"""Settings for applying items, and the software's version for the rows."""

from dataclasses import dataclass, field

from ingestor.domain.decision import Policy


@dataclass(frozen=True, slots=True)
class Rules:
    """`[sequence]` of the configuration."""

    policy: Policy = field(default_factory=Policy)
    mass_delete_share: float = 0.5
    """A snapshot that loses more than this share of what was there needs a second answer (rule 12)."""
    software_version: str = "unknown"

    def loses_too_much(self, had: int, gone: int) -> bool:
        """Losing all is always too much."""
        return had > 0 and (gone == had or gone > had * self.mass_delete_share)
