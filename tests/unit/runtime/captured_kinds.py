"""State of each kind that a kernel can capture, and ways in which it changes.

Everything is source, run in one namespace: what sets the state up, an expression that
reads it, and statements that change it, each right after any other.
"""

from __future__ import annotations

from textwrap import dedent
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of captured state; its globals begin with names of its own."""

    name: str
    setup: str
    expression: str
    changes: tuple[str, ...]


def _kind(name: str, setup: str, expression: str, *changes: str) -> Kind:
    return Kind(name, dedent(setup), expression, tuple(map(dedent, changes)))


KINDS = [
    # -- names --------------------------------------------------------------------
    _kind(
        "global scalar",
        "g1 = 2.0",
        "g1",
        *("g1 = 3.0", "g1 = -0.0", "g1 = True", "g1 = np.float32(3)", "g1 = 2"),
        *("g1 = 1 + 0j", "globals().pop('g1', None)"),
    ),
    _kind(
        "global that is bound later",
        """
        def g2_read():
            try:
                return g2
            except NameError:
                return 1.0
        """,
        "g2_read()",
        *("g2 = 3.0", "g2 = 4.0", "globals().pop('g2', None)"),
    ),
    _kind(
        "global asked for by text",
        "pass",
        "globals().get('g3', 1.0) + ('g3_flag' in globals()) * 2",
        *("g3 = 3.0", "g3_flag = 1", "globals().pop('g3', None)"),
        "globals().pop('g3_flag', None)",
    ),
    _kind(
        "builtin that a global hides",
        "pass",
        "abs(-3.0) + len((1, 2))",
        *("abs = lambda v: v * 10", "len = lambda v: 7.0"),
        *("globals().pop('abs', None)", "globals().pop('len', None)"),
    ),
    _kind(
        "builtin that is somebody's",
        """
        import builtins
        builtins.nkipy_test_builtin = 2.0
        """,
        "nkipy_test_builtin",
        *("builtins.nkipy_test_builtin = 3.0", "nkipy_test_builtin = 5.0"),
        "globals().pop('nkipy_test_builtin', None)",
    ),
    _kind(
        "closure cell",
        """
        def c1_make():
            c1 = 2.0
            def read():
                return c1
            def write(value):
                nonlocal c1
                c1 = value
            return read, write
        c1_read, c1_write = c1_make()
        """,
        "c1_read()",
        *("c1_write(3.0)", "c1_write(np.float32(3))", "c1_write([1.0, 2.0][1])"),
    ),
    _kind(
        "closure cell without a value",
        """
        def c2_make():
            def read():
                try:
                    return c2
                except NameError:
                    return 1.0
            def write(value):
                nonlocal c2
                c2 = value
            def delete():
                nonlocal c2
                c2 = 0
                del c2
            if False:
                c2 = 0
            return read, write, delete
        c2_read, c2_write, c2_delete = c2_make()
        """,
        "c2_read()",
        *("c2_write(3.0)", "c2_delete()", "c2_write(5.0)"),
    ),
    # -- arrays and scalars -----------------------------------------------------------
    _kind(
        "array",
        "a1 = np.arange(4, dtype=np.float32)",
        "a1.reshape(-1)[1] + len(a1.shape) + a1.itemsize + a1.size",
        *("a1.flat[1] = 7", "a1 = a1 + 1", "a1.shape = 2, a1.size // 2"),
        *("a1.dtype = np.int32", "a1.dtype = np.float16", "a1.shape = -1"),
        "a1 = a1 + 1.5",
    ),
    _kind(
        "array that is no longer writable",
        """
        a2 = np.ones(2, np.float32)
        def a2_store():
            a2[0] = a2[0]
            return a2.flags.writeable + a2[0]
        """,
        "a2_store()",
        *("a2.flags.writeable = False", "a2.flags.writeable = True"),
    ),
    _kind(
        "strides",
        "a3 = np.arange(8, dtype=np.float32).reshape(2, 4)[:, :2]",
        "a3.ravel('K')[1] + a3.strides[0]",
        *("a3 = np.asfortranarray(a3)", "a3 = np.ascontiguousarray(a3)"),
        "a3 = a3 + 1",
    ),
    _kind(
        "structured array",
        "a4 = np.zeros(2, [('p', 'f4'), ('q', 'f4')])",
        "a4['p'][0] + a4['q'][1]",
        *("a4['p'] = 3", "a4.dtype.names = ('q', 'p')", "a4.dtype.names = ('p', 'r')"),
        *("a4.dtype.names = ('p', 'q')", "a4['q'] += 1"),
    ),
    _kind(
        "structured dtype",
        "a5 = np.dtype([('p', 'f4'), ('q', 'i4')])",
        "float(a5.names.index('p')) + a5.itemsize",
        *("a5.names = ('q', 'p')", "a5.names = ('p', 'q')", "a5 = np.dtype('i1')"),
    ),
    _kind(
        "array of objects",
        "a6 = np.array([2.0, [3.0]], object)",
        "a6.flat[0] + a6.flat[1][0] + a6.ndim",
        *("a6.flat[0] = 4.0", "a6.flat[1][0] += 1", "a6.shape = (2, 1)"),
    ),
    _kind(
        "masked array",
        "a7 = np.ma.array([1.0, 2.0, 4.0], mask=[0, 0, 1])",
        "float(a7.sum())",
        *("a7[0] = np.ma.masked", "a7.mask[2] = False", "a7 = a7 + 1"),
    ),
    _kind(
        "attribute of an array",
        """
        class A8(np.ndarray):
            pass
        a8 = np.ones(2, np.float32).view(A8)
        a8.gain = 2.0
        """,
        "a8.gain + float(a8[0])",
        *("a8.gain = 3.0", "a8[0] = 5", "A8.gain = 4.0", "a8.__dict__.pop('gain', 0)"),
    ),
    _kind(
        "scalar of NumPy's",
        "s1 = np.float32(2)",
        "s1 + s1.dtype.itemsize",
        *("s1 = np.float32(3)", "s1 = np.float64(2)", "s1 = np.int8(2)", "s1 = 2.5"),
    ),
    _kind(
        "attribute of a scalar",
        """
        class S2(float):
            pass
        s2 = S2(2)
        s2.power = 1
        """,
        "s2 ** s2.power",
        *("s2.power = 3", "s2.power = -1", "s2 = S2(2); s2.power = 2"),
        "S2.power = 5; vars(s2).clear()",
    ),
    _kind(
        "attributes of other scalars",
        """
        class S3(str):
            pass
        class S3b(np.float32):
            pass
        s3, s3b = S3('a'), S3b(2)
        s3.k, s3b.k = 1.0, 2.0
        """,
        "s3.k + s3b.k + float(s3b)",
        *("s3.k += 1", "s3b.k += 1", "s3b = S3b(3); s3b.k = 1"),
    ),
    # -- containers -------------------------------------------------------------------
    _kind(
        "dict",
        "d1 = {'k': 1.0}",
        "d1.get('k', 5.0) + ('l' in d1) * 2 + len(d1)",
        *("d1['k'] = 3.0", "d1['l'] = 1", "d1.pop('k', 0)", "d1 = {'k': 1.0}"),
        *("d1['k'] = True", "d1.clear()"),
    ),
    _kind(
        "missing key",
        """
        d2 = {}
        def d2_read():
            try:
                return d2['k']
            except KeyError:
                return 1.0
        """,
        "d2_read()",
        *("d2['k'] = 4.0", "d2['k'] = 5.0", "d2.clear()"),
    ),
    _kind(
        "dict of arrays, in order",
        "d3 = {'a': np.ones(1, np.float32), 'b': [2.0]}",
        "sum((i + 1) * v[0] for i, v in enumerate(d3.values()))",
        *("d3['a'][0] += 1", "d3['b'][0] += 1", "d3['a'] = d3.pop('a')"),
        "d3['b'] = [9.0]",
    ),
    _kind(
        "other mappings",
        """
        import collections, types
        d4 = {'k': 1.0}
        d4_proxy = types.MappingProxyType(d4)
        d4_chain = collections.ChainMap({}, d4)
        d4_user = collections.UserDict(k=1.0)
        d4_default = collections.defaultdict(float)
        d4_values = d4.values()
        """,
        "d4_proxy['k'] + d4_chain['k'] + d4_user['k'] + d4_default.get('k', 0.5) + "
        "sum(d4_values)",
        *("d4['k'] += 1", "d4_chain['k'] = 7.0", "d4_user['k'] += 1"),
        "d4_default['k'] += 1",
    ),
    _kind(
        "what a dict has for keys that it lacks",
        """
        import collections
        d0_more = [1.0]
        d0 = collections.defaultdict(lambda: d0_more[0])
        """,
        "d0.copy()['k']",
        *("d0_more[0] += 1", "d0.default_factory = lambda: 7.0"),
        "d0.default_factory = lambda: d0_more[0]",
    ),
    _kind(
        "list",
        "l1 = [1.0, [2.0]]",
        "l1[0] + l1[-1][0] + len(l1) + (3.0 in l1)",
        *("l1[0] += 1", "l1[-1][0] += 1", "l1.append([3.0])", "l1 = [3.0, [2.0]]"),
        "l1.insert(0, 3.0)",
    ),
    _kind(
        "one list in two places",
        """
        l2 = l2_also = [1.0]
        """,
        "l2[0] + 10 * l2_also[0]",
        *("l2 = [*l2]", "l2[0] += 1", "l2_also[0] += 1", "l2_also = l2"),
    ),
    _kind(
        "set and deque",
        """
        import collections
        l3, l3_frozen = {1, 2}, frozenset((1,))
        l3_deque = collections.deque([1.0, 2.0])
        """,
        "(3 in l3) + len(l3) + (5 in l3_frozen) * 2 + l3_deque[0]",
        *("l3.add(3)", "l3.discard(3)", "l3_frozen |= {5}", "l3_deque.rotate()"),
        "l3_deque.appendleft(4.0)",
    ),
    _kind(
        "keys that are objects",
        """
        class Key:
            k = 1.0
        key = Key()
        d5_keys = {key: 1.0}
        """,
        "sum(each.k for each in d5_keys)",
        *("key.k = 2.0", "Key.k = 3.0", "vars(key).clear()"),
        "d5_keys = {Key(): 1.0, key: 2.0}",
    ),
    _kind(
        "memory",
        """
        import array
        m1, m2 = bytearray(b'ab'), array.array('f', [1.0])
        m3 = memoryview(m1)
        """,
        "float(m1[0] + m3[1]) + m2[0]",
        *("m1[0] += 1", "m2[0] += 1", "m3[1] += 1"),
    ),
    _kind(
        "named tuple",
        """
        import collections
        T1 = collections.namedtuple('T1', 'k l', defaults=[2.0])
        t1 = T1(1.0, [2.0])
        """,
        "t1.k + t1[1][0] + T1(0.0)[1]",
        *("t1 = t1._replace(k=5.0)", "t1.l[0] += 1", "t1 = t1._replace(k=1.0)"),
        "T1.__new__.__defaults__ = (7.0,)",
    ),
    # -- functions --------------------------------------------------------------------
    _kind(
        "defaults",
        "def f1(x, k=2.0, l=[1.0]): return x * k + l[0]",
        "f1(1.0)",
        *("f1.__defaults__ = (3.0, [1.0])", "f1.__defaults__[-1][0] += 1"),
        "f1.__defaults__ = (-0.0, [0.0])",
    ),
    _kind(
        "defaults of keywords",
        "def f2(x, *, k=2.0, l=1.0): return x * k + l",
        "f2(1.0)",
        *("f2.__kwdefaults__['k'] = 7.0", "f2.__kwdefaults__ = {'k': 3.0, 'l': 0.0}"),
        "f2.__kwdefaults__ = dict(f2.__kwdefaults__, l=4.0)",
        "f2.__kwdefaults__.pop('l', 0)",
    ),
    _kind(
        "function that is redefined",
        "def f3(x): return x * 2",
        "f3(1.0) + getattr(f3, 'extra', 0.0)",
        *("def f3(x): return x * 3", "f3.__code__ = (lambda x: x * 5).__code__"),
        *("f3.extra = 4.0", "vars(f3).clear()", "f3 = max", "f3 = float"),
        "def f3(x): return x * 7",
    ),
    _kind(
        "function behind a decorator",
        """
        import functools
        f4_gain = 1.0
        def f4_twice(function):
            @functools.wraps(function)
            def call(x):
                return function(x) * 2 * f4_gain
            return call
        @f4_twice
        def f4(x): return x + f4_shift
        f4_shift = 1.0
        """,
        "f4(1.0)",
        *("f4_shift += 1", "f4_gain += 1", "f4 = f4_twice(lambda x: x)"),
    ),
    _kind(
        "ufunc of a Python function",
        """
        f0_w = [2.0]
        f0_called = lambda v: v * f0_w[0]
        f0 = np.frompyfunc(lambda v: f0_called(v), 1, 1)
        """,
        "float(f0(3.0))",
        *("f0_w[0] = 3.0", "f0_called = lambda v: v + 1.0"),
        "f0 = np.frompyfunc(lambda v: v + f0_w[0], 1, 1)",
    ),
    _kind(
        "partial function",
        """
        import functools
        f5_w = [1.0]
        f5 = functools.partial(lambda w, x, k=1.0: w[0] * x + k, f5_w, k=2.0)
        """,
        "f5(1.0) + getattr(f5, 'extra', 0.0)",
        *("f5_w[0] += 1", "f5.keywords['k'] += 1", "f5.extra = 4.0"),
        "f5.__setstate__((f5.func, ([9.0],), {'k': 1.0}, {}))",
    ),
    _kind(
        "bound method",
        """
        class F6:
            k = 1.0
            def read(self): return self.k
        f6_self = F6()
        f6 = f6_self.read
        """,
        "f6()",
        *("f6_self.k = 3.0", "F6.k = 4.0", "vars(f6_self).clear()"),
        *("F6.read = lambda self: self.k * 2", "f6 = F6().read"),
    ),
    _kind(
        "methods written in C",
        """
        f7_d, f7_w = {'k': 1.0}, np.ones(2, np.float32)
        f7_get, f7_take = f7_d.get, f7_w.take
        """,
        "f7_get('k', 3.0) + float(f7_take(0))",
        *("f7_d['k'] += 1", "f7_w += 1", "f7_d.clear()", "f7_get = {'k': 5.0}.get"),
    ),
    _kind(
        "functions in a list",
        """
        f8_k = 1.0
        f8 = [lambda x: x * f8_k, lambda x: x + 1]
        """,
        "sum(f(2.0) for f in f8)",
        *("f8_k += 1", "f8.reverse(); f8_k = 0.5", "f8.append(lambda x: x * 3)"),
    ),
    _kind(
        "function of several types",
        """
        import functools
        @functools.singledispatch
        def f9(v): return 1.0
        f9_k = 2.0
        """,
        "f9(1) + f9('a')",
        *("f9.register(int, lambda v: 3.0)", "f9.register(str, lambda v: f9_k)"),
        "f9_k += 1",
    ),
    _kind(
        "names of functions and classes",
        """
        def f10(): 'a'
        class F10: pass
        """,
        "len(f10.__name__) + len(F10.__name__) + len(f10.__doc__ or '') * 0.5",
        *("f10.__name__ = 'longer'", "F10.__name__ = 'longer'", "f10.__doc__ = 'bc'"),
    ),
    # -- classes and objects ----------------------------------------------------------
    _kind(
        "attribute of a class",
        """
        class K1base:
            k = 1.0
        class K1other:
            k = 2.0
        class K1(K1base):
            l = 1.0
        """,
        "K1.k + K1().k + K1.l",
        *("K1base.k += 1", "K1.k = 5.0", "K1other.k += 1", "K1.__bases__ = (K1other,)"),
        "if 'k' in vars(K1): del K1.k",
    ),
    _kind(
        "attribute of an object",
        """
        class K2:
            k = 1.0
        k2 = K2()
        """,
        "k2.k + hasattr(k2, 'flag') * 2 + getattr(k2, 'shift', 0.5)",
        *("k2.k = 3.0", "k2.flag = True", "k2.shift = 2.0", "vars(k2).clear()"),
        *("K2.flag = True", "K2.k = 7.0", "k2 = K2()", "k2.__dict__ = {'k': 8.0}"),
    ),
    _kind(
        "attribute that is missing",
        """
        class K3: pass
        k3 = K3()
        def k3_read():
            try:
                return k3.k
            except AttributeError:
                return 1.0
        """,
        "k3_read() + ('l' in vars(k3))",
        *("k3.k = 3.0", "k3.l = 4.0", "vars(k3).clear()", "K3.k = 5.0"),
        *("if 'k' in vars(K3): del K3.k", "k3.__class__ = type('K3b', (), {'k': 8.0})"),
    ),
    _kind(
        "slot",
        """
        class K4:
            __slots__ = ('k', 'l')
            def read(self): return self.k + (self.l if hasattr(self, 'l') else 0.5)
        k4 = K4()
        k4.k = 1.0
        """,
        "k4.read()",
        *("k4.k += 1", "k4.l = 3.0", "if hasattr(k4, 'l'): del k4.l"),
    ),
    _kind(
        "property",
        """
        import functools
        class K5:
            _k = 1.0
            @property
            def k(self): return self._k * 2
        k5 = K5()
        """,
        "k5.k",
        *("k5._k = 3.0", "K5._k = 4.0", "K5.k = property(lambda self: self._k)"),
        *("vars(k5).clear()", "k5._k = 6.0"),
        "K5.k = property(functools.partial(lambda by, k: k._k * by, 4.0))",
    ),
    _kind(
        "methods of a class",
        """
        import functools
        class K6:
            shift = 1.0
            @staticmethod
            def s(): return 1.0
            @classmethod
            def c(cls): return cls.shift
            def _p(self, by): return by * self.shift
            p = functools.partialmethod(_p, 2.0)
            @functools.cached_property
            def m(self): return self.shift
            def __call__(self): return self.s() + self.c() + self.p()
        k6 = K6()
        """,
        "k6() + K6().m",
        *("K6.s = staticmethod(lambda: 3.0)", "K6.shift += 1", "k6.shift = 4.0"),
        *("K6.p = lambda self: 0.0", "K6.__call__ = lambda self: 9.0", "k6 = K6()"),
        "K6._p = lambda self, by: by",
    ),
    _kind(
        "operators",
        """
        class K7:
            k = 1.0
            def __radd__(self, other): return other + self.k
            def __getitem__(self, i): return self.k * i
        k7 = K7()
        """,
        "(1.0 + k7) + k7[3.0] + (2.0 if k7 else 5.0)",
        *("k7.k += 1", "K7.__radd__ = lambda self, other: other", "k7 = K7()"),
        *("K7.__bool__ = lambda self: False", "K7.__len__ = lambda self: 0"),
        "if '__bool__' in vars(K7): del K7.__bool__",
    ),
    _kind(
        "super and descriptors",
        """
        class K8base:
            def f(self): return self.scale
        class K8field:
            def __init__(self): self.default = 1.0
            def __get__(self, instance, owner): return self.default
        class K8(K8base):
            scale = K8field()
            def f(self): return super().f() * 2
        k8 = K8()
        """,
        "k8.f() + type(k8).scale",
        "vars(K8)['scale'].default = 3.0 if not isinstance(vars(K8)['scale'], float) "
        "else 0",
        *("K8base.f = lambda self: self.scale * 3", "K8.scale = K8field()"),
    ),
    _kind(
        "attributes that a method makes up",
        """
        class K9:
            def __init__(self): self.table = {'k': 1.0}
            def __getattr__(self, name):
                return self.__dict__['table'].get(name, 0.5)
        k9 = K9()
        """,
        "k9.k + k9.l",
        *("k9.table['k'] += 1", "k9.table['l'] = 3.0", "k9.k = 5.0"),
        "k9 = K9()",
    ),
    _kind(
        "attributes that are all made up",
        """
        class K10:
            k = 1.0
            def __getattribute__(self, name):
                return object.__getattribute__(self, name) if name[0] == '_' else K10.k
        k10 = K10()
        """,
        "k10.anything",
        *("K10.k += 1", "K10.__getattribute__ = lambda self, name: "
          "object.__getattribute__(self, name) if name[0] == '_' else 5.0"),
        "del K10.__getattribute__; k10.anything = 7.0",
    ),
    _kind(
        "data class",
        """
        import dataclasses
        @dataclasses.dataclass
        class D1:
            k: float = 1.0
            l: list = dataclasses.field(default_factory=lambda: [2.0])
        @dataclasses.dataclass(frozen=True)
        class D2:
            k: float = 1.0
        d5, d6 = D1(), D2()
        """,
        "d5.k + d5.l[0] + d6.k + D1().k + dataclasses.asdict(d5)['k']",
        *("d5.k += 1", "d5.l[0] += 1", "object.__setattr__(d6, 'k', 5.0)"),
        *("d6 = dataclasses.replace(d6, k=7.0)", "D1.__init__.__defaults__ = (9.0,)*2"),
    ),
    _kind(
        "match of attributes",
        """
        class M1:
            __match_args__ = ('mode',)
            mode, other = 'a', 'b'
        m4 = M1()
        def m4_read():
            match m4:
                case M1('a', other='b'): return 1.0
                case M1(other='c'): return 2.0
            return 3.0
        """,
        "m4_read()",
        *("m4.mode = 'z'", "m4.other = 'c'", "m4.mode = 'a'", "m4.other = 'b'"),
        *("M1.__match_args__ = ('other',)", "M1.mode = 'y'"),
    ),
    _kind(
        "enumeration",
        """
        import enum
        class E1(enum.Enum):
            A, B = 1, 2
        class E2(enum.IntEnum):
            A = 1
        E1.A.gain = E2.A.gain = 1.0
        e1 = E1.A
        """,
        "E1.A.gain * e1.value + E2.A.gain + E2.A + (e1 is E1.A) + E1['B'].value",
        *("E1.A.gain += 1", "E2.A.gain += 1", "e1 = E1.B", "e1 = E1.A"),
        *("E1.B._value_ = 9", "E1.A._value_ += 1"),
    ),
    _kind(
        "namespaces",
        """
        import types, threading, weakref, contextvars, operator
        n1 = types.SimpleNamespace(k=1.0, sub=types.SimpleNamespace(k=2.0))
        n1_local = threading.local()
        n1_local.k = 1.0
        class N1: pass
        n1_held = N1()
        n1_held.k = 1.0
        n1_ref, n1_var = weakref.ref(n1_held), contextvars.ContextVar('v', default=1.0)
        n1_get = operator.attrgetter('sub.k')
        """,
        "n1.k + n1_local.k + n1_ref().k + n1_var.get() + n1_get(n1)",
        *("n1.k += 1", "n1.sub.k += 1", "n1_local.k += 1", "n1_var.set(3.0)"),
        *("n1_held.k += 1", "n1.sub = types.SimpleNamespace(k=9.0)"),
    ),
    # -- modules ----------------------------------------------------------------------
    _kind(
        "module",
        """
        import types
        mod = types.ModuleType('mod_of_a_test')
        mod.K = 1.0
        mod.f = lambda: mod.K
        def mod_read():
            try:
                return mod.L
            except AttributeError:
                return 0.5
        """,
        "mod.K + mod.f() + mod_read() + hasattr(mod, 'flag') + getattr(mod, 'M', 0.0)",
        *("mod.K += 1", "mod.L = 3.0", "mod.flag = 1", "mod.M = 5.0"),
        *("mod.f = lambda: 7.0", "vars(mod).pop('L', 0)", "vars(mod).pop('flag', 0)"),
    ),
    _kind(
        "module that is imported when the kernel runs",
        """
        import sys, types
        sys.modules['mod2_of_a_test'] = mod2 = types.ModuleType('mod2_of_a_test')
        mod2.K = 1.0
        def mod2_read():
            from mod2_of_a_test import K
            return K
        def mod2_by_text():
            import importlib
            return importlib.import_module('mod2_of_a_test').K
        """,
        "mod2_read() + mod2_by_text() + sys.modules['mod2_of_a_test'].K",
        *("mod2.K += 1", "sys.modules['mod2_of_a_test'] = mod2 = "
          "types.ModuleType('mod2_of_a_test'); mod2.K = 5.0"),
    ),
    _kind(
        "environment",
        """
        import os
        os.environ['NKIPY_TEST_SCALE'] = '1'
        """,
        "float(os.environ['NKIPY_TEST_SCALE'])",
        "os.environ['NKIPY_TEST_SCALE'] = '3'",
        "os.environ.pop('NKIPY_TEST_SCALE', 0)",
        "os.environ['NKIPY_TEST_SCALE'] = '4'",
    ),
]  # fmt: skip

#: How a kernel comes to the expressions.
KERNELS = {
    "direct": """
        def kernel(x):
            return x * ({0}) + ({1})
        """,
    "lambda": "kernel = lambda x: x * ({0}) + ({1})",
    "comprehension": """
        def kernel(x):
            made = [({0}) for _ in range(1)]
            return x * made[0] + sum(({1}) for _ in (0,))
        """,
    "nested": """
        def kernel(x):
            def first(): return ({0})
            return x * first() + (lambda: ({1}))()
        """,
    "closure": """
        def make_kernel():
            def helper(x): return x * ({0})
            def kernel(x): return helper(x) + ({1})
            return kernel
        kernel = make_kernel()
        """,
    "helpers": """
        def helper_0(): return ({0})
        def helper_1(x): return x + ({1})
        def kernel(x): return helper_1(x * helper_0())
        """,
    "object": """
        class Kernel:
            def __call__(self, x): return self.scale(x) + ({1})
            def scale(self, x): return x * ({0})
        kernel = Kernel()
        """,
    "method": """
        class Kernel:
            @classmethod
            def scale(cls, x): return x * ({0})
            def run(self, x): return self.scale(x) + ({1})
        kernel = Kernel().run
        """,
    "decorated": """
        import functools
        def shifted(function):
            @functools.wraps(function)
            def call(x): return function(x) + ({1})
            return call
        @shifted
        def kernel(x): return x * ({0})
        """,
    "partial": """
        import functools
        def full(f, x, *, g): return x * f() + g()
        kernel = functools.partial(full, lambda: ({0}), g=lambda: ({1}))
        """,
    "default": """
        def kernel(x, *, f=lambda: ({0}), g=lambda: ({1})): return x * f() + g()
        """,
    "class body": """
        def kernel(x):
            class Made:
                k = ({0})
            return x * Made.k + ({1})
        """,
}
