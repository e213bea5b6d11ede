import jax, jax.numpy as jnp
from flax import nnx

def conv_patches(x, k, strides, padding, **kw):
    kh,kw_,ci,co=k.shape
    x = jnp.pad(x, ((0,0),(kh//2,kh//2),(kw_//2,kw_//2),(0,0)))
    (sh,sw)=strides
    h=(x.shape[1]-kh)//sh+1; w=(x.shape[2]-kw_)//sw+1
    pt=jnp.concatenate([x[:,i:i+sh*(h-1)+1:sh,j:j+sw*(w-1)+1:sw] for i in range(kh) for j in range(kw_)],-1)
    return pt@k.reshape(-1,co)

class CNN(nnx.Module):
    def __init__(self, shape, width, classes, *, dropout=0.0, variant="a", rngs):
        h,w,c=shape
        C=lambda i,o,k,s: nnx.Conv(i,o,(k,k),(s,s),conv_general_dilated=lambda lhs,rhs,strides,padding,**kw: conv_patches(lhs,rhs,strides,padding),rngs=rngs)
        if variant=="a":
            L=[C(c,width,5,2),C(width,2*width,3,2),C(2*width,2*width,3,1)]; out=2*width
        elif variant=="b":
            L=[C(c,width,5,2),C(width,width,3,1),C(width,2*width,3,2),C(2*width,2*width,3,1)]; out=2*width
        self.layers=nnx.List(L)
        self.head=nnx.Linear(out*(-(-h//4))*(-(-w//4)),classes,rngs=rngs)
        self.dropout=nnx.Dropout(dropout)
    def __call__(self,images,*,key=None):
        x=images
        for l in self.layers: x=nnx.relu(l(x))
        x=x.reshape(x.shape[0],-1)
        return self.head(self.dropout(x,deterministic=key is None,rngs=key))
