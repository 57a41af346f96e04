-- Counts one request against a limit: GCRA, as in rate_limit.rs. Needs Redis 5 or later, or Valkey.
--
-- KEYS[1] holds the moment up to which the requests so far are paid for, in microseconds since 1970 by this server's clock, so that
-- the clocks of the replicas do not matter.
-- ARGV[1]: the time that one request takes, ARGV[2]: how far the replica knows the requests to be paid for ahead of now, and
-- ARGV[3]: how far ahead they may be; all in microseconds. What the replica knows counts where this store has lost its memory.
-- Returns 1 if the request passes, else 0; and how far the requests are paid for ahead of now.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, known, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local paid_until = tonumber(redis.call('GET', KEYS[1])) or 0
-- Not further ahead than a burst: this server's clock may have been set back, or another server's may have been ahead.
paid_until = math.max(now, math.min(math.max(paid_until, now + known), now + burst))
local next = paid_until + interval
-- Half an interval above the burst, so that rounding takes no request away.
if next - now > burst + interval / 2 then
    return { 0, math.ceil(paid_until - now) }
end
-- As digits: Lua's own text of a number of this size lacks the last ones.
redis.call('SET', KEYS[1], string.format('%.3f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return { 1, math.ceil(next - now) }
