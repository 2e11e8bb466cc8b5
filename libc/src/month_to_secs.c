/* SPDX-License-Identifier: Apache-2.0
 *
 * Seconds of a year before one of its months, 0 to 11. musl asks with what TZ
 * says, which is the host's; its own looks up whatever number comes.
 */
int __month_to_secs(int month, int is_leap)
{
	static const short days[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	if (month < 0 || month > 11)
		return 0;
	return (days[month] + (is_leap && month >= 2)) * 86400;
}
