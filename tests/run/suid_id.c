/* SPDX-License-Identifier: Apache-2.0 */
/* Prints its effective user: busybox would give its set-uid rights up. For the test image. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	printf("%d\n", (int)geteuid());
	return 0;
}
