/* SPDX-License-Identifier: Apache-2.0
 *
 * What the three messages of carry.h start with. A change of any record changes
 * these.
 */
#ifndef HOST_CARRY_WIRE_H
#define HOST_CARRY_WIRE_H

#define CARRY_MANIFEST 0x394d4d4fu /* "OMM9" */
#define CARRY_ANSWER 0x31414d4fu   /* "OMA1" */
#define CARRY_STATE 0x39534d4fu	   /* "OMS9" */

#endif
