"""Skills: instructions for special tasks that users and projects keep as files."""

from __future__ import annotations

from crush_trio.skills.discovery import Skills, discover
from crush_trio.skills.skill import Skill

__all__ = ["Skill", "Skills", "discover"]
