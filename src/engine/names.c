/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/names.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include "util/mem.h"

static const char *const manners[] = {
	"able",	  "agile", "bold",   "brave", "bright", "brisk",  "calm",  "clear",
	"clever", "cool",  "deft",   "eager", "early",	"easy",	  "exact", "fair",
	"fast",	  "fine",  "firm",   "fleet", "frank",	"free",	  "fresh", "gentle",
	"glad",	  "grand", "handy",  "happy", "hardy",	"honest", "jolly", "keen",
	"kind",	  "light", "lively", "lucky", "mellow", "merry",  "mild",  "neat",
	"nimble", "noble", "open",   "plain", "prompt", "proud",  "quick", "quiet",
	"ready",  "sharp", "sleek",  "smart", "snug",	"sober",  "solid", "steady",
	"still",  "swift", "tidy",   "trim",  "true",	"warm",	  "wise",  "witty",
};

static const char *const things[] = {
	"anchor",  "atoll",   "bay",	"beacon",    "bow",	"breeze",  "bridge",  "bulkhead",
	"buoy",	   "cabin",   "cape",	"channel",   "chart",	"coast",   "compass", "coral",
	"cove",	   "current", "deck",	"dhow",	     "dock",	"estuary", "fjord",   "galley",
	"gale",	   "gull",    "harbor", "haven",     "helm",	"hull",	   "island",  "jetty",
	"keel",	   "kelp",    "lagoon", "lantern",   "lateen",	"lee",	   "lookout", "mast",
	"mooring", "oar",     "ocean",	"outrigger", "paddle",	"pearl",   "pier",    "pilot",
	"port",	   "prow",    "quay",	"reef",	     "rigging", "rudder",  "sail",    "sandbar",
	"shoal",   "sound",   "spar",	"starboard", "stern",	"strait",  "surf",    "swell",
	"tide",	   "tiller",  "voyage", "wake",	     "wave",	"wharf",   "wind",    "yard",
};

void names_generate(char *buf, size_t size)
{
	uint32_t r[3] = { 0 };

	(void)!getrandom(r, sizeof(r), 0);
	snprintf(buf, size, "%s_%s%u", manners[r[0] % ARRAY_SIZE(manners)],
		 things[r[1] % ARRAY_SIZE(things)], r[2] % 100000);
}
