#pragma once
/* Commands for tests, as sh(1) takes them. What they say goes where the test's own words go. */

/* Waits for the end; the exit status, 128 and more for a signal. */
int shell_run(const char *command);
