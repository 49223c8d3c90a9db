"""Draft and verify: cheap guesses, checked in one pass by the network whose text it is."""
