/*
 * The combining mailbox of actors/mailbox.go, for the model checker Spin.
 * README.md says how to run this and what is checked; check.sh runs it.
 *
 * A goroutine is a loop over its program counter pc. Every option of the loop
 * is one indivisible step, and does at most one access to shared memory: a
 * load, a store, a compare-and-swap or a swap of state, list or sys. What else a
 * step does is to data that is the runner's alone or the poster's alone; that it
 * is, is asserted at every touch (mine, at).
 *
 * A configuration is chosen by defines; the defaults are below.
 */

#ifndef N1
#define N1 1            /* messages of sender 1; every one is the same node */
#endif
#ifndef N2
#define N2 1            /* messages of sender 2; every one is the same node */
#endif
#ifndef N3
#define N3 1            /* messages of sender 3, at most 3; each a fresh node */
#endif
#ifndef NSYS
#define NSYS 0          /* system messages of the source, at most 3: */
#endif
#ifndef SYS1
#define SYS1 SUSPEND
#endif
#ifndef SYS2
#define SYS2 RESUME
#endif
#ifndef SYS3
#define SYS3 STOP
#endif
/* BUDGET:  how many messages a poster handles; without it, all of them.
 * STARTED: Start has been called, and is done; without it, it is called while
 *          all the others run.
 * SELF:    the handler of sender 1's first and sender 3's first message sends
 *          one to its own actor.
 * FAIL:    the handler of sender 2's first message fails: it suspends its actor.
 * DIRECT:  senders 1 and 2 try a direct turn first: enter, and then exit or handle.
 * ASIDE:   no poster runs the actor: a goroutine of its own does, as for a connector.
 * SHARED:  senders 1 and 2 post one node, N1 times in all: whoever first sees that
 *          it has been handled, though the other may still be in its post.
 * BROKEN_RELEASE, _TAKE, _MARK, _NUDGE, _CLEAR, _LOOK, _AGAIN: a mistake that
 *          must be caught. */

#ifdef BUDGET
#define LIMIT BUDGET
#else
#define LIMIT 0
#endif

#define NIL   0
#define NODES 12

/* The values of state. */
#define FREE   0
#define HELD   1
#define MARKED 2

/* Nodes 1 and 2 belong to senders 1 and 2; 3 to 5 are sender 3's; 6 and 7 are
 * sent by handlers; 8 to 11 are the nudges of system messages 1 to 4. */
#define SENDER(n)   ((n) <= 2 -> (n) : ((n) <= 5 -> 3 : 0))
#define ISNUDGE(n)  ((n) >= 8)
#define NUDGE(q)    (7 + (q))
#define KIND(q)     ((q) == 1 -> SYS1 : ((q) == 2 -> SYS2 : ((q) == 3 -> SYS3 : SUSPEND)))
#ifdef SHARED
#define NODE(who)   1
#define PLANNED(s)  ((s) == 1 -> N1 : ((s) == 2 -> 0 : N3))
#else
#define NODE(who)   (who)
#define PLANNED(s)  ((s) == 1 -> N1 : ((s) == 2 -> N2 : N3))
#endif

/* Who a goroutine is, besides the senders 1 to 3. */
#define SOURCE  4       /* posts system messages */
#define STARTER 5       /* calls Start */
#define RUNNER  6       /* go m.work(false) */

mtype = { SUSPEND, RESUME, STOP };

mtype = {
	POST, FAST_LOOK, FAST_RELEASE,             /* PostUserMessage; enter, exit */
	AGAIN,                                     /* PostUserMessage after an enter in vain */
	SYS_LOAD, SYS_CAS,                         /* PostSystemMessage */
	PUSH_LOAD, PUSH_LINK,                      /* push: the list */
	MARK_LOAD, MARK, MARK_GRAB,                /* push: the state */
	START, LOOK, SYS_TAKE, HAND, RELEASE,      /* work, system */
	TAKE_HOLD, TAKE_SWAP,                      /* take */
	BEGIN, SELF_SEND, ANSWER, ZAP,             /* the handler */
	END
};

/* Shared memory. */
bool answered[4] = true; /* the message of sender 1, 2 is handled */
#ifdef STARTED
byte state = FREE;
#else
byte state = HELD;
#endif
byte list = NIL;
byte sys = NIL;
byte next[NODES];       /* of nodes that go through the list */
byte snext[5];          /* of system messages */
byte queued;

/* What the runner owns. */
byte todo, held, last;
bool suspended;
bool stopped;           /* the actor's, not the mailbox's: user messages are dropped */

/* What follows is only there to be asserted. */
byte owner;             /* the process that is the runner; 0: none */
bool running;           /* a handler runs */
byte at[NODES];         /* where a node is: */
#define SENDERS 0       /*   with whoever posts it */
#define PENDING 1       /*   in the list */
#define TAKEN   2       /*   in todo or held */
byte posted[4];         /* messages of each sender (0: of handlers) */
byte begun[4];          /* those of them that a handler has been given */
byte seq[NODES];        /* which of its sender's messages a node is */
bool behind[NODES];     /* it was posted when a system message pended */
byte syslast;           /* the system message of the source that was handled last */
byte overtaken;         /* user messages begun since the oldest in sys was posted */
byte awake;             /* goroutines that are not at their END */

inline mine()    { assert(owner == _pid) }
inline acquire() { assert(owner == 0); owner = _pid }
inline free()    { mine(); owner = 0 }

/* A post begins: its message has a place among its sender's. */
inline compose(n)
{
	assert(at[n] == SENDERS);
	posted[SENDER(n)]++;
	seq[n] = posted[SENDER(n)];
	behind[n] = (sys != NIL)
}

/* The load of the list in push. */
inline load()
{
	assert(at[p] == SENDERS);
	next[p] = list;
	pc = PUSH_LINK
}

/* take: first the state, then the list. */
#ifdef ASIDE
#define TAKE       TAKE_HOLD
#define AFTER_HOLD TAKE_SWAP
#define AFTER_SWAP (who == RUNNER -> LOOK : HAND)       /* run: go m.work(false) */
#elif defined(BROKEN_TAKE)
#define TAKE       TAKE_SWAP
#define AFTER_SWAP TAKE_HOLD
#define AFTER_HOLD LOOK
#else
#define TAKE       TAKE_HOLD
#define AFTER_HOLD TAKE_SWAP
#define AFTER_SWAP LOOK
#endif

/* work begins. */
inline enter(o)
{
#ifdef BUDGET
	own = o;
	left = BUDGET;
#endif
	p = NIL;
	pc = LOOK
}

/* The load in system; and what work does next. */
inline look()
{
	mine();
	if
	:: sys != NIL -> pc = SYS_TAKE
	:: sys == NIL && todo == NIL -> pc = RELEASE
	:: else -> pop()
	fi
}

/* The budget, and the next of todo. */
inline pop()
{
	pc = LOOK;
	if
#ifdef BUDGET
	:: left == 0 && own -> pc = HAND
	:: left == 0 && !own -> left = BUDGET    /* Gosched, continue */
#endif
	:: else ->
#ifdef BUDGET
		left--;
#endif
		n = todo;
		assert(at[n] == TAKEN);
#ifdef BROKEN_CLEAR
		todo = next[n];
#else
		todo = next[n]; next[n] = NIL;
#endif
		if
		:: ISNUDGE(n) -> at[n] = SENDERS; next[n] = NIL
		:: !ISNUDGE(n) && suspended ->  /* hold */
			next[n] = NIL;
			if
			:: held == NIL -> held = n
			:: else -> next[last] = n
			fi;
			last = n
		:: else ->
			assert(queued > 0);
			queued--;
			at[n] = SENDERS;
			h = n;
			pc = BEGIN
		fi;
		n = NIL
	fi
}

/* A post, or a runner, is done. */
inline done()
{
	p = NIL;
#ifdef BUDGET
	left = 0; own = false;
#endif
	if
	:: again != NIL -> pc = AGAIN
	:: who <= 2 && again == NIL -> pc = (posted[NODE(who)] < PLANNED(NODE(who)) -> POST : END)
	:: who == 3 -> pc = (posted[3] < N3 -> POST : END)
	:: who == SOURCE ->
		if
		:: sent < NSYS -> sent++; q = sent; pc = SYS_LOAD
		:: else -> pc = END
		fi
	:: else -> pc = END
	fi;
	if
	:: pc == END -> awake--
	:: else
	fi
}

/* A push is done: back to the handler, or to the caller. */
inline pushed()
{
	q = NIL;
	if
	:: h != NIL -> pc = ANSWER
	:: else -> done()
	fi
}

/* The end of a handler that no other goroutine can see is no step of its own:
 * nobody waits for the answer, or it is the poster himself who runs. */
#ifdef SHARED
#define UNSEEN (h > 2 || stopped)
#else
#define UNSEEN (h > 2 || stopped || fast)
#endif

/* invoke: the handler is given node h. */
inline begin()
{
	mine();
	assert(!running);
	running = true;
	assert(!suspended);
	assert(!ISNUDGE(h));
	/* every message once, and in the order of its sender */
	begun[SENDER(h)]++;
	assert(seq[h] == begun[SENDER(h)]);
	/* system messages that were posted before it have been handled */
	assert(!behind[h]);
	/* of user messages, one at most goes before a system message that is
	 * posted: the one that was begun */
	if
	:: sys != NIL -> overtaken++; assert(overtaken <= 1)
	:: else
	fi;
	seq_h = seq[h]; seq[h] = 0;
	pc = ANSWER;
	if
	:: stopped              /* it is dropped */
	:: else ->
#ifdef SELF
		if
		:: (h == 1 && seq_h == 1) || h == 3 -> pc = SELF_SEND
		:: else
		fi;
#endif
#ifdef FAIL
		if
		:: h == 2 && seq_h == 1 -> q = 4; pc = SYS_LOAD
		:: else
		fi;
#endif
		skip
	fi;
	seq_h = 0;
	if
	:: pc == ANSWER && UNSEEN -> answer(); finish()
	:: else
	fi
}

inline answer()
{
	assert(running);
	running = false;
	if
	:: h <= 2 && !stopped -> answered[h] = true
	:: else
	fi
}

inline finish()
{
#ifdef BROKEN_CLEAR
	next[h] = NIL;
#endif
	h = NIL;
	pc = (fast -> FAST_RELEASE : LOOK)
}

proctype goroutine(byte who; mtype pc)
{
	byte p;         /* the node that is being posted */
	byte h;         /* the node that is being handled */
	byte q = (who == SOURCE -> 1 : NIL); /* the system message that is being posted */
	byte sent = q;  /* of the source's */
	byte left = (who == RUNNER -> LIMIT : 0);
	bool own;
	byte again;     /* the node whose post begins anew, because enter has failed */
	bool late;      /* that has been tried */
	bool fast;      /* the handler was called by PostUserMessage, not by work */
	byte n, m, rest, seq_h; /* only used within a step */

	/* A goroutine rests here when it is at its END, or waits for an answer:
	 * init asserts that it is there for no other reason. */
end:	do

	/* ------------------------------------------------ PostUserMessage */

	:: d_step { pc == POST && who <= 2 &&
		answered[NODE(who)] &&  /* only then is the node used again */
		posted[NODE(who)] < PLANNED(NODE(who)) ->
		answered[NODE(who)] = false;
		p = NODE(who);          /* state.CompareAndSwap(free, held) */
		compose(p);
		if
#ifndef ASIDE
		:: state == FREE -> state = HELD; acquire(); pc = FAST_LOOK
#endif
		:: else -> queued++; pc = PUSH_LOAD
		fi }

#ifdef SHARED
	:: d_step { pc == POST && who <= 2 &&   /* the other has posted the last */
		posted[1] == N1 -> done() }
#endif

	:: d_step { pc == FAST_LOOK ->          /* sys.Load() != nil || suspended */
		mine();
		if
#ifndef BROKEN_LOOK
#ifdef DIRECT
		:: (sys != NIL || suspended) && !late ->        /* work(true), return false */
#ifdef BROKEN_AGAIN
			late = true;
#else
			again = p; late = true;
#endif
			enter(true)
		:: (sys != NIL || suspended) && late ->
#else
		:: sys != NIL || suspended ->   /* append */
#endif
			assert(todo == NIL && next[p] == NIL);
			late = false;
			queued++;
			todo = p; at[p] = TAKEN;
			enter(true)
#endif
		:: else -> h = p; p = NIL; fast = true; late = false; pc = BEGIN
		fi }

	:: d_step { pc == AGAIN ->              /* state.CompareAndSwap(free, held) */
		p = again; again = NIL;
		if
		:: state == FREE -> state = HELD; acquire(); pc = FAST_LOOK
		:: else -> late = false; queued++; pc = PUSH_LOAD
		fi }

	:: d_step { pc == FAST_RELEASE ->       /* state.CompareAndSwap(held, free) */
		mine();
		fast = false;
		if
#ifdef BROKEN_RELEASE
		:: true -> state = FREE; free(); done()
#else
		:: state == HELD -> state = FREE; free(); done()
		:: else -> enter(true)
#endif
		fi }

	:: d_step { pc == POST && who == 3 ->   /* &node{message}, list.Load() */
		p = 3 + posted[3];
		compose(p);
		queued++;
		load() }

	/* ---------------------------------------------- PostSystemMessage */

	:: d_step { pc == SYS_LOAD -> snext[q] = sys; pc = SYS_CAS }

	:: d_step { pc == SYS_CAS ->            /* sys.CompareAndSwap(n.next, n) */
		if
		:: sys == snext[q] ->
			sys = q;
#ifdef BROKEN_NUDGE
			pushed()
#else
			p = NUDGE(q);
			pc = PUSH_LOAD
#endif
		:: else -> pc = SYS_LOAD
		fi }

	/* ----------------------------------------------------------- push */

	:: d_step { pc == PUSH_LOAD -> load() } /* list.Load() */

	:: d_step { pc == PUSH_LINK ->          /* list.CompareAndSwap(n.next, n) */
		assert(at[p] == SENDERS);
		if
		:: list == next[p] ->
			list = p; at[p] = PENDING;
			p = NIL;                /* from here on the node is not touched */
			pc = MARK_LOAD
		:: else -> next[p] = NIL; pc = PUSH_LOAD
		fi }

	:: d_step { pc == MARK_LOAD ->          /* state.Load() */
		if
		:: state == MARKED -> pushed()
#ifdef BROKEN_MARK
		:: state == HELD -> pushed()
#else
		:: state == HELD -> pc = MARK
#endif
		:: state == FREE -> pc = MARK_GRAB
		fi }

	:: d_step { pc == MARK ->               /* state.CompareAndSwap(held, marked) */
		if
		:: state == HELD -> state = MARKED; pushed()
		:: else -> pc = MARK_LOAD
		fi }

	:: d_step { pc == MARK_GRAB ->          /* state.CompareAndSwap(free, held) */
		if
		:: state == FREE ->
			state = HELD;
			acquire();
			assert(h == NIL);       /* a handler would run within a handler */
			q = NIL;
			enter(true);
			pc = TAKE
		:: else -> pc = MARK_LOAD
		fi }

	/* ----------------------------------------------------------- work */

	:: d_step { pc == START ->              /* the state begins as held */
		assert(state != FREE);
		acquire();
#ifdef ASIDE
		pc = HAND }
#else
		enter(true);
		look() }
#endif

	:: d_step { pc == LOOK -> look() }      /* system: sys.Load(); the next of todo */

	:: d_step { pc == SYS_TAKE ->           /* system: sys.Swap(nil) */
		mine();
		assert(!running);
		n = sys; sys = NIL; rest = NIL;
		overtaken = 0;
		m = 1;
		do
		:: m < NODES -> behind[m] = false; m++
		:: else -> break
		od;
		do
		:: n != NIL -> m = snext[n]; snext[n] = rest; rest = n; n = m
		:: else -> break
		od;
		do                              /* invokeSystem */
		:: rest != NIL ->
			if
			:: rest <= 3 -> assert(rest == syslast + 1); syslast = rest
			:: else
			fi;
			if
			:: KIND(rest) == SUSPEND -> suspended = true
			:: KIND(rest) == RESUME ->
				suspended = false;
				if
				:: held != NIL ->
					next[last] = todo;
					todo = held; held = NIL; last = NIL
				:: else
				fi
			:: KIND(rest) == STOP -> stopped = true
			fi;
			n = rest; rest = snext[n]; snext[n] = NIL
		:: else -> break
		od;
		n = NIL; m = NIL;
		pc = LOOK }

	:: atomic { pc == HAND ->               /* go m.work(false) */
		mine();
		owner = run goroutine(RUNNER, LOOK);
		awake++;
		done() }

	:: d_step { pc == RELEASE ->            /* state.CompareAndSwap(held, free) */
		mine();
		if
#ifdef BROKEN_RELEASE
		:: true -> state = FREE; free(); done()
#else
		:: state == HELD -> state = FREE; free(); done()
#endif
		:: else -> pc = TAKE
		fi }

	/* ----------------------------------------------------------- take */

	:: d_step { pc == TAKE_HOLD ->          /* state.Store(held) */
		mine();
		assert(state != FREE);
		state = HELD;
		pc = AFTER_HOLD }

	:: d_step { pc == TAKE_SWAP ->          /* list.Swap(nil), reverse */
		mine();
		assert(todo == NIL);
		n = list; list = NIL;
		do
		:: n != NIL ->
			assert(at[n] == PENDING);
			at[n] = TAKEN;
			rest = next[n]; next[n] = todo; todo = n; n = rest
		:: else -> break
		od;
		n = NIL; rest = NIL;
		pc = AFTER_SWAP }

	/* ---------------------------------------------------- the handler */

	:: d_step { pc == BEGIN -> begin() }

	:: d_step { pc == SELF_SEND ->          /* PostUserMessage, list.Load() */
		mine();
		p = 6 + posted[0];
		compose(p);
		queued++;
		load() }

	:: d_step { pc == ANSWER ->             /* the sender may post its node again */
		mine();
#ifdef BROKEN_CLEAR
		answer();
		pc = ZAP }

	:: d_step { pc == ZAP -> finish() }
#else
		answer();
		finish() }
#endif
	od
}

inline spawn(g, at_) { run goroutine(g, at_); awake++ }

/* Everything runs until nothing can; then it is asserted what must be so. */
init
{
	byte n, s, kept[4], all;

	atomic {
#ifndef STARTED
		spawn(STARTER, START);
#endif
		if :: N1 > 0 -> spawn(1, POST) :: else fi;
		if :: NODE(2) == 1 || N2 > 0 -> spawn(2, POST) :: else fi;
		if :: N3 > 0 -> spawn(3, POST) :: else fi;
		if :: NSYS > 0 -> spawn(SOURCE, SYS_LOAD) :: else fi
	};

	d_step { timeout ->
		assert(state == FREE && list == NIL);
		assert(owner == 0 && !running);
		assert(todo == NIL && sys == NIL);
		assert(syslast == NSYS);
		assert(held == NIL || suspended);
		n = held;
		do
		:: n != NIL ->
			assert(at[n] == TAKEN && !ISNUDGE(n));
			at[n] = SENDERS;
			kept[SENDER(n)]++;
			all++;
			assert(next[n] != NIL || n == last);
			n = next[n]
		:: else -> break
		od;
		/* every message is handled (or dropped), or held */
		s = 0;
		do
		:: s < 4 ->
			assert(posted[s] == begun[s] + kept[s]);
			/* whoever has not posted all waits for an answer */
			if
			:: s != 0 && posted[s] < PLANNED(s) ->
				assert(s != 3 && (stopped || kept[s] > 0));
				awake--;
#ifdef SHARED
				awake--
#endif
			:: else
			fi;
			s++
		:: else -> break
		od;
		assert(awake == 0 && queued == all);
		/* no node is anywhere else */
		n = 1;
		do
		:: n < NODES -> assert(at[n] == SENDERS); n++
		:: else -> break
		od }
}
