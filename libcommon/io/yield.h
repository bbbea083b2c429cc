#pragma once
/* A thread that does long work steps back behind all others, for good: no thread may raise itself
 * again. Any thread; never the one of a loop. */

void yield_to_others(void);
