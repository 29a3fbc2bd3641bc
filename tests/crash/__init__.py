"""Crashes for real: processes, kernels and file systems; `python -m tests.crash` is the long run.

    storm        kill -9 of the four programs and the postmaster under load, everybody's histories compared
    traced       strace makes system calls of the engine fail, wait or kill it
    power_cut    an ext4 image as the platter had it when the power went, and three faults that must show
    small_disk   a disk that is full, and goes on when it is not
    bits         one flipped bit in every field of a block

Law: an acknowledgement counts when a client has read it from its socket; it is compared with what the next
start finds. Mounts, loop devices and processes end with the test, also when it fails.
"""
