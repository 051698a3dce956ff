"""Scene refinement: poses, lenses and points move too, by as much as unseen pixels allow.

settings.py     what may move, and when
sensitivity.py  steps in pixels, whatever the scale of the world
structure.py    the steps, and how a model takes them
gauge.py        what photos leave open of a world, put back
guard.py        kept-back pixels, and what they say
table.py        how far each camera moved, and what was taken back
"""
