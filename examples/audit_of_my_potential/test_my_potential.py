from my_potential import make

from muse_lr.testing import Exam


class TestMyPotential(Exam):
    elements = ("Ar",)

    def potential(self):
        return make()
