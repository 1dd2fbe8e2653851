/* SPDX-License-Identifier: Apache-2.0 */
/* proa-stage: the stage as an executable of its own (guest/main.c has it as one of its lives). */
#include "container/stage.h"

int main(int argc, char **argv)
{
	return stage_main(argc, argv);
}
