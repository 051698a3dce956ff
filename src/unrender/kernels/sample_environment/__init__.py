"""The environment map behind the pixels that no point hit (ADOP Eq. 7, first case)."""
